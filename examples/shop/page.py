"""A shop page: SERENDIP=http://127.0.0.1:8080 uvicorn --app-dir examples/shop page:app"""

import os

from fastapi import FastAPI, Response
from jinja2 import Template

from serendip.client import AsyncClient

app = FastAPI()
client = AsyncClient(os.environ["SERENDIP"], os.environ.get("SERENDIP_KEY", ""))
page = """<!doctype html><title>Shop</title><link rel="icon" href="data:,">
<form><input name="q" value="{{ q }}" placeholder="Search"></form>
{% for value, count in answer.facets.brand["values"].items() %}
  <a class="facet" href="?{{ {'q': q, 'brand': value} | urlencode }}">{{ value }} ({{ count }})</a>
{% endfor %}
{% for item in answer["items"] %}{% set own = item.attributes or {} %}
  <p class="card"><a href="{{ own.url }}"><img src="{{ own.image }}" alt=""> {{ item.title }}</a>
  <b>{{ "%.2f €" | format(own.price) if own.price }}</b> <small>{{ item.reason }}</small></p>
{% endfor %}"""


@app.get("/")
async def show(q: str = "", brand: str = "") -> Response:
    """What a visitor sees."""
    surface, tests = "search" if q else "home", [f"brand={brand}"] if brand else []
    facet, fields = ["brand"], ["image", "price", "url"]
    answer = await client.recommend(surface=surface, q=q, filter=tests, facet=facet, fields=fields)
    html = Template(page, autoescape=True).render(q=q, answer=answer)
    return Response(html, media_type="text/html")
