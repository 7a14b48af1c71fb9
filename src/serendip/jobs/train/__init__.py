"""``serendip train``.

``train.py`` lists the parts of a generation, ``parts`` builds or links them; ``engine_fit.py`` fits
models (``fit.py``) and the ranker (``ranker``), ``gates.py`` checks the result,
``continuation.py`` says what a training continues from, ``space.py`` keeps exported vectors
comparable with those of the published generation.
"""
