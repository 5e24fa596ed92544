"""The main job: a table, columns known only in hindsight, candidates, a verdict."""
