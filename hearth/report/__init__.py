"""The page one looks at: how the home is, in one file of HTML that needs nothing from elsewhere."""
