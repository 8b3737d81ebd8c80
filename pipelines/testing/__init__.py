"""The test kit of element authors: one element alone, fed and read by hand, and checks of the element contract.

Nothing in the engine imports it.
"""

from tolmach.pipelines.testing.checks import check_element, check_spec
from tolmach.pipelines.testing.harness import Harness, chop, tone

__all__ = ["Harness", "check_element", "check_spec", "chop", "tone"]
