"""When two requests ask for the same release, so that the first one's answers the second (L2).

What was released with noise may be read again and again: it is post-processing and costs nothing.
A second draw of noise would be another release, which is charged.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any


def release_sha256(
    spec_sha256: str, inputs: Sequence[Mapping[str, Any]], public_versions: Mapping[str, int]
) -> str:
    """Names what is asked, of which rows, on which budgets; equal requests have equal names.

    Args:
        spec_sha256: of the checked spec, every default written out.
        inputs: as they are stored: dataset, version, the very blocks, the leaf budget and its
            slots. The first holds the rows that are grouped; the others come in any order.
        public_versions: by dataset, the version of each public table that is joined.
    """
    first, *others = inputs
    asked = {
        "v": 1,
        "spec": spec_sha256,
        "inputs": [first, *sorted(others, key=lambda each: str(each["dataset_id"]))],
        "public_versions": public_versions,
    }
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode("ascii")).hexdigest()
