"""python -m tokenflow_tui"""

from tokenflow_tui import main

main()
