"""Packs the agent into one file that any Python 3.9 or later runs: `python3 agent.pyz`."""

import importlib.util
import zipfile
from pathlib import Path

_MAIN = "from agent.__main__ import main\n\nraise SystemExit(main())\n"


def write_zipapp(target: Path) -> None:
    """Write the agent to `target`; the same sources give the same bytes."""
    package = Path(__file__).parent
    sources = [path for path in sorted(package.glob("*.py")) if path.name != "build.py"]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), _MAIN)
        for path in sources:
            archive.writestr(zipfile.ZipInfo(f"agent/{path.name}"), path.read_bytes())
        # nvidia-ml-py is one file without dependencies, with its licence (BSD) in its head
        archive.writestr(
            zipfile.ZipInfo("pynvml.py"), _nvidia_ml_py().read_bytes(), zipfile.ZIP_DEFLATED
        )
    target.chmod(0o755)


def _nvidia_ml_py() -> Path:
    spec = importlib.util.find_spec("pynvml")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("nvidia-ml-py is not installed: run `make .venv/ready`")
    return Path(spec.origin)
