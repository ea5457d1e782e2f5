"""`python -m kenpin_controller.cli`, for where no script is on PATH."""

from kenpin_controller.cli import main

main()
