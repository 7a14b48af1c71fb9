"""What people see: lists of an engine, asked for as pages do, and what is measured of them."""
