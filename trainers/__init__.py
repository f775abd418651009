"""nnU-Net trainers: each picks a network, a loss and a recipe, and inherits the rest.

`nnunet_mamba.trainers.NAME` is any trainer of the catalogue, and `NAME_<n>epochs` is that trainer for n epochs. The
first use imports the trainer's file, or makes the class that no file holds.
"""

from importlib import import_module

from nnunet_mamba import catalogue


def __getattr__(name: str) -> type:
    try:
        entry, changed = catalogue.find(name)
    except KeyError as error:
        raise AttributeError(f"module {__name__!r}: {error.args[0]}") from None
    if changed:
        # the module's own attribute, so that the class is pickled by its name
        made = {"__module__": __name__, "__doc__": f"{entry.trainer} with {changed}."}
        trainer = type(name, (__getattr__(entry.trainer),), made | changed)
    elif entry.loss_class:
        from nnunet_mamba import losses
        from nnunet_mamba.trainers.with_loss import with_loss

        trainer = with_loss(getattr(losses, entry.loss_class))
    else:
        trainer = getattr(import_module(f"{__name__}.{entry.trainer_file}"), name)
    return globals().setdefault(name, trainer)


def __dir__() -> list[str]:
    return sorted([*globals(), *catalogue.names()])
