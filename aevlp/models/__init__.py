"""Models: a backbone and a linear head. One file a family, built by name with `num_classes` and `image_size`.

A model takes uint8 images (B,3,S,S), which it normalises itself, and gives logits (B,C). In training it may give a pair, logits
and further outputs by name, which `gives_outputs` of its configuration lists. The parameters of its attribute `head` train at
trainer.head_lr_mult; its attribute `backbone` stands still in trainer.linear_epochs. docs/extending.md holds one as a whole file.
"""
