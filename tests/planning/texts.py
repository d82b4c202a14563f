"""A small suite as a user would write it."""

GOOD = """
title: Mine
question: Is it?
workload: language_model
base: {model: {depth: 1, head_width: 8}, training: {batch_size: 4, steps: 2}}
axes:
  size: {values: {a: {model: {width: 8}}, b: {model: {width: 16}}}}
arms:
  adamw: {optimizer: {name: adamw, lr: 0.001}}
seeds: 3
profiles:
  cpu: {}
  smoke: {seeds: 1, use: {size: [a]}, arms: {adamw: {optimizer: {lr: 0.002}}}}
"""
