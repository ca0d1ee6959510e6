"""Programs that are projects of their own: ours in apps/, or the admin's, by path, Git URL or package."""
