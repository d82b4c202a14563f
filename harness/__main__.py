"""``python -m harness``: the command; on a bare machine, without typer, only ``execute``."""

import importlib.util
import sys

if importlib.util.find_spec("typer") is not None:
    from harness.cli import main

    main()
elif sys.argv[1:2] == ["execute"]:
    from harness import exchange

    sys.exit(exchange.main(sys.argv[2:]))
else:
    sys.exit("typer is not installed: here only `python -m harness execute ROUND.json` works")
