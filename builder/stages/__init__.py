"""The stages of a build, one file a stage, each with `run(context)`."""
