"""Which rows lie nearest to the limits that decided them."""

import numpy as np
import pandas as pd


def by_border(lines: pd.DataFrame) -> pd.DataFrame:
    """Lines of a ledger, those nearest to their limit first, by rank among the same rule's rows;
    then those that no number decided.

    By rank, since pixels and cosines cannot be compared: the nearest of each rule come first."""
    far = (lines["value"] - lines["limit"]).abs()
    ranks = far.groupby(lines["rule"]).rank(method="first")
    return lines.iloc[np.argsort(ranks.to_numpy(), kind="stable")]  # NaN comes last
