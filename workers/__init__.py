"""Workers: they claim admitted jobs, touch private rows and post what was spent."""
