"""REST, as design.md section 7 names it. Thin: every handler is a call of `Site` or a look at `Fleet`."""
