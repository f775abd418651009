"""`python -m nnunet_mamba COMMAND ...` does what `nnunet_mamba COMMAND ...` does."""

import sys

from nnunet_mamba.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
