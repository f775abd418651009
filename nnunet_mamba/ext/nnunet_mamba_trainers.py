"""Where nnU-Net looks for our trainers: it imports this file by its bare name and asks whether it has the class.

The classes live in nnunet_mamba.trainers, in one copy: a class defined here would be a new one at each look-up.
"""

import sys

from nnunet_mamba import catalogue, trainers


def __getattr__(name: str) -> type:
    try:
        catalogue.find(name)
    except KeyError as error:
        if catalogue.is_like_ours(name):  # nnU-Net only says that it does not find it
            print(f"nnunet_mamba: {error.args[0]}", file=sys.stderr)
        raise AttributeError(f"module {__name__!r}: {error.args[0]}") from None
    return getattr(trainers, name)
