"""The contract's keeper: generates the Python code from protos/ and checks that callers stay whole.

    python -m tools.contract generate           protos/ -> generated/
    python -m tools.contract check              lint, format, generated code, breaking changes
    python -m tools.contract release VERSION    protos/ -> tools/contract/released/

Nothing here needs a network. The tools come from the virtual environment that runs it, at the exact
versions that pyproject.toml pins; each command refuses others, because another generator writes other code.

Modules: `tree` (where things lie), `toolset` (which tools, how they are run), `generate`, `check`, `release`.
"""
