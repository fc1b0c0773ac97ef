"""From raw CTs to one grid: where along the body they lie, a template of their own, affine maps to it."""
