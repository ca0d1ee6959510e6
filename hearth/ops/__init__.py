"""The few pyinfra operations and facts that pyinfra lacks.

They follow pyinfra's own rules: a generator that compares and yields commands, asked at prepare and again at
execution. None raises on what a guest answers: at execution that would end the whole run, so whatever can go
wrong on a guest is a command there that fails.
"""
