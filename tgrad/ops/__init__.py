"""Every op's card. Importing this package fills the registry."""

from tgrad.ops.copy import *
from tgrad.ops.extrema import *
from tgrad.ops.matmul import *
from tgrad.ops.pointwise import *
from tgrad.ops.reduction import *
from tgrad.ops.statistics import *
from tgrad.ops.view import *
