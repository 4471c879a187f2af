"""scikit-learn, scipy and statsmodels: fitted models, pipelines with classes of cells, distributions and results."""

from .case import read

CASES = read(
    "models",
    r"""
== a pipeline with a class of a cell
from sklearn.pipeline import make_pipeline
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LinearRegression
import numpy as np
class Tr(BaseEstimator, TransformerMixin):
    def fit(self, X, y=None): return self
    def transform(self, X): return X * 2
pl = make_pipeline(Tr(), LinearRegression()).fit(np.arange(6.).reshape(-1,1), np.arange(6.))
--
import numpy as np
assert abs(pl.predict(np.array([[3.]]))[0] - 3) < 1e-9 and type(pl[0]) is Tr
== functions of cells in transformers
from sklearn.preprocessing import FunctionTransformer
from sklearn.feature_extraction.text import CountVectorizer
def words(text): return [w for w in text.split() if w not in stop]
stop = {"a"}; double = FunctionTransformer(lambda X: X * factor); factor = 2; counts = CountVectorizer(tokenizer=words, token_pattern=None).fit(["a b", "b c"])
--
factor = 3; stop.add("c")
import numpy as np
assert double.transform(np.array([[1]])).tolist() == [[3]] and counts.transform(["a b c"]).toarray().tolist() == [[1, 0]]
== forests, boosting and clusters
import numpy as np
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.cluster import KMeans
X = np.random.RandomState(0).rand(60, 3); y = (X[:, 0] > .5).astype(int)
forest = RandomForestClassifier(5, random_state=0).fit(X, y); boost = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X, y); means = KMeans(2, n_init=1, random_state=0).fit(X); want = [forest.predict(X).sum(), round(boost.predict(X).sum(), 6), means.labels_.sum()]
--
assert [forest.predict(X).sum(), round(boost.predict(X).sum(), 6), means.labels_.sum()] == want
forest.set_params(n_estimators=6, warm_start=True).fit(X, y); assert len(forest.estimators_) == 6
== a search with a score of a cell
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, KFold
def closeness(y, p): return -abs(y - p).max() * weight
weight = 1; search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, scoring=make_scorer(closeness), cv=KFold(2)).fit(np.arange(8.0).reshape(-1, 1), np.arange(8.0))
--
weight = 2
assert search.best_params_ == {"alpha": 0.1} and search.score([[0.0]], [1.0]) < -1
assert search.predict([[3.0]]).shape == (1,)
== estimators of cells in a hierarchy
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
class Base(ClassifierMixin, BaseEstimator):
    def __init__(self, bias=0): self.bias = bias
    def fit(self, X, y): self.classes_ = np.unique(y); return self
    def predict(self, X): return np.full(len(X), self.classes_[0] + self.bias)
class More(Base):
    def predict(self, X): return super().predict(X) + 1
m = More(bias=2).fit([[1]], [5]); c = clone(m)
--
assert m.predict([[1]]).tolist() == [8] and type(c) is More and c.get_params() == {"bias": 2} and not hasattr(c, "classes_")
== the library's configuration
import sklearn
sklearn.set_config(display="text", assume_finite=True)
--
assert sklearn.get_config()["display"] == "text" and sklearn.get_config()["assume_finite"], "set_config is undone"
== columns and frames
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler
df = pd.DataFrame({"n": [1.0, 2.0], "c": ["x", "y"]})
prep = ColumnTransformer([("n", StandardScaler(), ["n"]), ("c", OneHotEncoder(sparse_output=False), ["c"])]).set_output(transform="pandas").fit(df)
--
assert list(prep.transform(df).columns) == ["n__n", "c__c_x", "c__c_y"]
== a memory of joblib's in the workspace
import joblib
memory = joblib.Memory("cache", verbose=0); calls = []
@memory.cache
def slow(x): calls.append(x); return x * 2
first = slow(3)
--
assert slow(3) == 6 and slow(4) == 8 and 4 in calls
== sparse matrices and trees of scipy
import numpy as np, scipy.sparse as sp
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation
m = sp.csr_matrix(np.eye(3)); arr = sp.coo_array(np.eye(2)); view = m.T; tree = KDTree(np.eye(3)); turn = Rotation.from_euler("z", 90, degrees=True)
--
assert m.sum() == 3 and type(arr) is sp.coo_array and view.shape == (3, 3) and tree.query([0, 0, 1])[1] == 2 and np.allclose(turn.apply([1, 0, 0]), [0, 1, 0])
== distributions, and ones of cells
import scipy.stats as st
class Own(st.rv_continuous):
    def _cdf(self, x): return x ** 2
normal = st.norm(1, 2); own = Own(a=0, b=1, name="own"); kde = st.gaussian_kde([1.0, 2.0, 3.0]); qmc = st.qmc.Sobol(2, seed=1); first = qmc.random(2)
--
assert normal.mean() == 1 and abs(own.ppf(0.25) - 0.5) < 1e-6 and kde(2.0)[0] > 0 and type(own) is Own and qmc.num_generated == 2
== interpolation, results and operators
import numpy as np
from scipy import interpolate, optimize, signal
from scipy.sparse.linalg import LinearOperator
spline = interpolate.CubicSpline([0, 1, 2], [0, 1, 4]); target = 3.0
found = optimize.minimize(lambda x: (x[0] - target) ** 2, [0.0]); scale = 2; op = LinearOperator((2, 2), matvec=lambda v: v * scale); filt = signal.butter(2, 0.5, output="sos")
--
scale = 5
assert abs(spline(1.5) - 2.25) < 1e-9 and abs(found.x[0] - 3) < 1e-4 and found.success and op.matvec(np.ones(2)).tolist() == [5, 5] and filt.shape == (1, 6)
== a model of statsmodels
import statsmodels.formula.api as smf, pandas as pd
res = smf.ols('y ~ x', pd.DataFrame({'x': [1,2,3,4], 'y': [2,4,6,8.1]})).fit()
--
assert 'R-squared' in str(res.summary())
assert abs(res.predict(pd.DataFrame({"x": [5]}))[0] - 10.05) < 0.1
== functions of cells in a formula [or loses: res]
import statsmodels.formula.api as smf, pandas as pd
def half(v): return v / scale
scale = 2; res = smf.ols("y ~ half(x)", pd.DataFrame({"x": [1.0, 2, 3, 4], "y": [1.0, 2, 3, 4]})).fit()
--
assert abs(res.params.iloc[1] - 2) < 1e-6 and abs(res.predict(pd.DataFrame({"x": [6.0]}))[0] - 6) < 1e-6
-- told
assert half(3.0) == 1.5 and scale == 2
""",
    is_preloaded=True,
)
