"""The network sizes in a plans' configuration, in an entry that nnU-Net's own trainers do not read."""

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_mamba import catalogue


def sizes_in_plans(configuration_manager: ConfigurationManager, key: str) -> dict:
    """The sizes that a configuration sets for the network `key` of the catalogue; the others stay as published.

    Raises:
        ValueError: it sets anything else.
    """
    entry = catalogue.network(key)
    sizes = configuration_manager.configuration.get(entry.sizes_entry, {})
    if unknown := set(sizes) - set(entry.sizes):
        raise ValueError(
            f"plans, {entry.sizes_entry}: got {', '.join(sorted(unknown))}, wanted any of {', '.join(entry.sizes)}"
        )
    return sizes
