"""What an installed failsoft brings for trying out: the pipeline of the demo and a topic catalogue.

A checkout has them as ``workers/digits.py`` and ``topics.yaml``, where a team edits them; the wheel has copies here.
"""
