"""Every op's card. Importing this package fills the registry."""

from tgrad.ops.activation import *
from tgrad.ops.bounds import *
from tgrad.ops.comparison import *
from tgrad.ops.conv import *
from tgrad.ops.copy import *
from tgrad.ops.creation import *
from tgrad.ops.einsum import *
from tgrad.ops.extrema import *
from tgrad.ops.index import *
from tgrad.ops.mask import *
from tgrad.ops.maths import *
from tgrad.ops.matmul import *
from tgrad.ops.norms import *
from tgrad.ops.optim import *
from tgrad.ops.pointwise import *
from tgrad.ops.pool import *
from tgrad.ops.power import *
from tgrad.ops.products import *
from tgrad.ops.random import *
from tgrad.ops.reduction import *
from tgrad.ops.shape import *
from tgrad.ops.softmax import *
from tgrad.ops.statistics import *
from tgrad.ops.view import *
from tgrad.ops.window import *
