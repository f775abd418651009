"""A network as ONNX. Scans of the same sizes are one function of the model, which holds two or three ONNX `Scan`s."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_mamba.export.program import export_network, quiet
from nnunet_mamba.ops import exportable
from nnunet_mamba.ops.scan_orders import ScanOrders

OPSET = 18
INPUT, OUTPUT = "image", "logits"


def write_onnx(network: nn.Module, image: Tensor, metadata: dict[str, str], file: Path) -> None:
    """Write `network` for inputs of the size of `image` (see `export_network`), with `metadata` in the file.

    Raises:
        ValueError: torch cannot export the network.
    """
    import onnx_ir

    with exportable.named_scans():
        program = export_network(network, image)
    model = _translate(program, [INPUT], [OUTPUT])
    _put_in_scans(model)
    model.metadata_props.update(metadata)
    onnx_ir.save(model, file)


def _translate(
    program: torch.export.ExportedProgram, inputs: list[str] | None = None, outputs: list[str] | None = None
) -> Any:
    with quiet():
        translated = torch.onnx.export(
            program, dynamo=True, verbose=False, opset_version=OPSET, input_names=inputs, output_names=outputs
        )
    if translated is None:
        raise RuntimeError("torch's exporter returned nothing")
    return translated.model


def _put_in_scans(model: Any) -> None:
    """Let each node that stands for a scan call a function for its sizes, and add the functions."""
    functions: dict[tuple, Any] = {}
    for node in model.graph:
        if (node.domain, node.op_type) != (exportable.DOMAIN, exportable.NAME):
            continue
        u, *others = (value.shape for value in node.inputs)
        shapes = tuple(u[1:]), *(tuple(shape) for shape in others)
        if shapes not in functions:
            functions[shapes] = _function(f"{exportable.NAME}{len(functions)}", shapes)
        node.op_type = functions[shapes].name
    if functions:
        model.opset_imports[exportable.DOMAIN] = 1
        model.functions.update({function.identifier(): function for function in functions.values()})


class _ProjectedScan(nn.Module):
    def forward(self, *arguments: Tensor) -> Tensor:
        u, delta_weight, dt_proj_weight, B_weight, C_weight, A, D, delta_bias, positions = arguments
        weights = delta_weight, dt_proj_weight, B_weight, C_weight
        return exportable.projected_scan(u, *weights, A, D, delta_bias, ScanOrders(positions))


def _function(name: str, shapes: tuple[tuple[int, ...], ...]) -> Any:
    """The ONNX function of a scan with arguments of these shapes, the first one without its batch."""
    import onnx_ir

    u, *others, positions = shapes
    arguments = torch.zeros(2, *u), *(torch.zeros(shape) for shape in others), torch.zeros(positions, dtype=torch.int64)
    dynamic = {0: torch.export.Dim("batch")}, *[None] * (len(arguments) - 1)
    with quiet(), torch.no_grad():
        program = torch.export.export(_ProjectedScan(), arguments, dynamic_shapes=(dynamic,))
    graph = _translate(program).graph
    first = graph[0]
    for value in list(graph.initializers.values()):  # a function has none
        constant = onnx_ir.Node("", "Constant", [], [onnx_ir.AttrTensor("value", value.const_value)])
        constant.outputs[0].name = f"{value.name}_constant"
        onnx_ir.convenience.replace_all_uses_with(value, constant.outputs[0])
        graph.insert_before(first, constant)
        del graph.initializers[value.name]
    return onnx_ir.Function(exportable.DOMAIN, name, graph=graph, attributes=[])
