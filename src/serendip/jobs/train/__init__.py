"""``serendip train``.

``train.py`` lists the steps, ``fit.py`` fits models and ranker, ``gates.py`` checks the result,
``carry_over.py`` keeps semantic IDs and vectors comparable with the published generation.
"""
