"""What mkdocstrings shows of docstrings: examples as code, sources in bold."""

import re

from griffe import Extension

# A paragraph that begins with a prompt.
SESSION = re.compile(r"^>>> .*(?:\n(?!\n).+)*", re.MULTILINE)


class ExamplesAsCode(Extension):
    """Fences the examples, which stand below `Example:` without an indent."""

    def on_instance(self, *, obj, **kwargs):
        """Change a docstring when it was read."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        text = re.sub(r"^Example:\n", "**Example**\n\n", text, flags=re.M)
        text = re.sub(r"^Reference: ", "**Reference**: ", text, flags=re.M)
        obj.docstring.value = SESSION.sub(r"```pycon\n\g<0>\n```", text)
