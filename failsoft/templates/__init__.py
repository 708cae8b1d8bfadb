"""What an installed failsoft brings for trying out: the pipelines of digits and of support, and a topic catalogue.

A checkout has them as ``workers/digits.py``, ``workers/served.py``, ``workers/support.py`` and ``topics.yaml``, where a team
edits them; the wheel has copies here.
"""
