"""Public data sets, as downloaded, into nnU-Net raw data sets with folds that do not leak.

Each file here describes one data set, or a family of them. To add a data set, add a file that makes a `Dataset`: the
command line, its help and the table in docs/data_sets.md find it there. `formats/` reads files and folders, `pipeline/`
converts.
"""

from nnunet_mamba.dataset_conversion.pipeline.convert import convert

__all__ = ["convert"]
