"""The steps that every data set goes through: find, verify, split, write beside, rename, report."""
