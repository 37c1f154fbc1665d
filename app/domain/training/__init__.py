"""Training specs: what a DP-SGD job asks for, read strictly and priced without a row."""

from app.domain.training.parsing import evaluation_dataset_id, parse_training
from app.domain.training.spec import TrainSpec

__all__ = ["TrainSpec", "evaluation_dataset_id", "parse_training"]
