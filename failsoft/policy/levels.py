"""Levels: the quality of an answer, as three words with a number."""

FULL_LEVEL = 1
"""Full model with complete context."""
REDUCED_LEVEL = 2
"""Smaller model, or reduced context."""
FALLBACK_LEVEL = 3
"""Cached or deterministic answer."""
