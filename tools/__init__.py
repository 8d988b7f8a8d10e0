"""Development tools: started by make or by hand with `python -m`, never by the service or the edge."""
