"""The kill drill: one service of a mesh is made to fail, and what the others do is counted."""
