"""``serendip train``.

``train.py`` lists the parts of a generation, ``parts`` builds or links them; ``engine_fit.py`` fits
models (``fit.py``) and the ranker (``ranker``), ``gates.py`` checks the result,
``carry_over.py`` keeps semantic IDs and vectors comparable with the published generation.
"""
