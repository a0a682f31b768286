"""Packs the agent into one file that any Python 3.9 or later can run: `python3 agent.pyz`."""

import importlib.util
import py_compile
import tempfile
import zipfile
from pathlib import Path

_MAIN = b"from agent.__main__ import main\n\nraise SystemExit(main())\n"


def write_zipapp(target: Path) -> None:
    """Write the agent to `target`; the same sources and Python give the same bytes.

    Byte code is included, which halves the start-up time under this Python version; others compile.
    """
    package = Path(__file__).parent
    sources = sorted(package.rglob("*.py"))
    modules = {f"agent/{path.relative_to(package)}": path for path in sources}
    del modules["agent/build.py"]
    # nvidia-ml-py is one file without dependencies; its licence (BSD) is at the top of it.
    modules["pynvml.py"] = _nvidia_ml_py()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"__main__.py": _MAIN, **_with_byte_code(modules)}.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    target.chmod(0o755)


def _with_byte_code(modules: dict[str, Path]) -> dict[str, bytes]:
    contents = {}
    with tempfile.NamedTemporaryFile() as compiled:
        for name, path in modules.items():
            py_compile.compile(
                str(path),
                cfile=compiled.name,
                dfile=name,
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
            contents[name] = path.read_bytes()
            contents[f"{name}c"] = Path(compiled.name).read_bytes()
    return contents


def _nvidia_ml_py() -> Path:
    spec = importlib.util.find_spec("pynvml")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("nvidia-ml-py is not installed: run `make .venv/ready`")
    return Path(spec.origin)
