from crossimpact import errors as errors
from crossimpact.consumer.client import Client as Client
from crossimpact.drift.weekly import weekly_drift as weekly_drift
from crossimpact.errors import CrossImpactError as CrossImpactError
from crossimpact.estimate.refit import fit_regime as fit_regime
from crossimpact.estimate.stability import stabilise as stabilise
from crossimpact.kernel.decay import Decay as Decay
from crossimpact.manipulation import Certificate as Certificate
from crossimpact.manipulation import certificate as certificate
from crossimpact.model import Cost as Cost
from crossimpact.model import ImpactModel as ImpactModel
from crossimpact.panel import Panel as Panel
from crossimpact.path_manipulation import PathCertificate as PathCertificate
from crossimpact.path_manipulation import path_certificate as path_certificate
from crossimpact.policy.sequential import solve as solve
from crossimpact.policy.sequential.problem import Problem as Problem
from crossimpact.release.bundle import Release as Release
from crossimpact.tca import pair_costs as pair_costs
from crossimpact.tca import predict as predict

__version__: str
