# Written by tools/document.sh from src/rust/src. Do not edit by hand.
# nolint start

# nolint end
