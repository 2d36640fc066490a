"""The tutorial, the exercises and the documentation as one static site: built by Zensical, served to a class room."""
