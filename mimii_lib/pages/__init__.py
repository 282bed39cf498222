"""What the book shows: tables, figures, explanations, claims, open points, the report."""
