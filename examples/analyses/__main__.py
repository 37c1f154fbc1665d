"""`python -m examples.analyses`: three tables, their released figures, and the truth beside."""

import sys

from examples.analyses.run import ANALYSES, figures


def main() -> int:
    """Print every analysis."""
    say = sys.stdout.write
    for analysis in ANALYSES:
        say(f"{analysis.title}\n")
        found = figures(analysis)
        say(f"  {'key':>12} {'measure':>16} {'released':>12} {'+-95%':>9}")
        say(f" {'true':>12} {'error':>8}\n")
        for each in found:
            share = each.error / each.true if each.true else float("nan")
            width = "" if each.half_width_95 is None else f"{each.half_width_95:.1f}"
            say(
                f"  {each.key!s:>12} {each.measure:>16} {each.released:>12.1f} {width:>9}"
                f" {each.true:>12.1f} {share:>8.1%}\n"
            )
        say("\n")
    say("Half-widths cover the noise; errors also hold what caps and bounds cut off.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
