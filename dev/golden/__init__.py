"""Golden records: what the product answers, recorded from its outside and compared later."""
