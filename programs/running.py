"""What programs tell of a long run: lines in its log, and how long it will take."""
import time


def tell(log, line):
    """Print a line, and add it with the time to the run's log (a Path)."""
    print(line, flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")


def duration(seconds):
    """A time in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
