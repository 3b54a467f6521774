"""Offline rules: each has planted faults that are found, and harmless twins that are not."""

from collections.abc import Callable

import pytest

Find = Callable[..., list[str]]


@pytest.mark.parametrize(
    "code",
    [
        "!pip install timm",
        "%pip install timm",
        "files = !ls /kaggle/input",
        "if True:\n    !wget http://x",
        "%%bash\nls",
        "%matplotlib inline\nx = 1",
        "x = %who_ls",
        "torch.load?",
        "get_ipython().system('ls')",
        "import subprocess\nsubprocess.run(['pip', 'install', 'timm'])",
        "import subprocess\nsubprocess.run('cd /tmp && wget http://x', shell=True)",
        "import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', 'timm'])",
        "from subprocess import Popen as P\nP(['/usr/bin/curl', 'x'])",
        "import os\nos.system('curl x > y')",
        "import os as o\no.popen(f'wget {x}')",
        "import subprocess\nsubprocess.run(['git', 'clone', repository])",
        "import os\nos.execvp('wget', ['wget'])",
    ],
)
def test_a_program_or_magic_that_fetches_is_found(online: Find, code: str) -> None:
    assert online(code)


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess\nsubprocess.run(['nvidia-smi', '-L'])",
        "import os\nos.system('ls -l')",
        "import os\nos.makedirs('pip')",
        "text = '''\n!pip install timm\n%matplotlib inline\n'''",
        "remainder = (7\n% 4)",
        "print('run pip install timm, or wget http://x')  # !pip install",
        "class Pool:\n    def run(self, command):\n        return command\nPool().run(['pip'])",
        "def run(words):\n    return words\nrun(['pip', 'install'])",
    ],
)
def test_a_harmless_program_or_mention_is_not_found(online: Find, code: str) -> None:
    assert online(code) == []


@pytest.mark.parametrize(
    "code",
    [
        "import requests\nrequests.get(x)",
        "import urllib.request\nurllib.request.urlopen(x)",
        "from urllib.request import urlretrieve",
        "import http.client",
        "import socket",
        "import ftplib",
        "def later():\n    from socket import create_connection",
        "import pandas as pd\npd.read_csv('https://x/y.csv')",
        "import pandas as pd\npd.read_parquet(path=f'https://x/{name}')",
        "import pandas as pd\npd.read_csv('https://x/' + name)",
        "import skimage.io\nskimage.io.imread('http://x/y.png')",
        "import asyncio\nasyncio.open_connection('x', 1)",
        "import fsspec",
    ],
)
def test_a_way_to_the_network_is_found(online: Find, code: str) -> None:
    assert online(code)


@pytest.mark.parametrize(
    "code",
    [
        "requests = []\nrequests.append(1)",
        "from urllib.parse import quote\nquote('a b')",
        "import urllib.parse\nurllib.parse.quote('a b')",
        "from http import HTTPStatus",
        "import pandas as pd\npd.read_csv('train.csv')",
        "print('https://www.kaggle.com/c/csiro-biomass')",
        "SOURCE = 'https://arxiv.org/abs/1'  # import requests",
        "import matplotlib.pyplot as plt\nplt.title('http://x')",
        '"""See https://x; import requests; torch.load."""',
        "def get(url):\n    '''requests.get, urllib.request'''",
        "socket = 3\nsocket + 1",
    ],
)
def test_a_harmless_twin_of_networking_is_not_found(online: Find, code: str) -> None:
    assert online(code) == []


@pytest.mark.parametrize(
    "code",
    [
        "from huggingface_hub import hf_hub_download",
        "import kagglehub",
        "import gdown",
        "import timm\ntimm.create_model('resnet34', pretrained=True)",
        "import timm\ntimm.create_model('resnet34', True)",
        "from timm import create_model as make\nmake('resnet34', pretrained=True)",
        "import timm\ntimm.create_model('hf-hub:timm/x', pretrained=False)",
        "import timm\ntimm.create_model('hf_hub:timm/x')",
        "settings = dict(pretrained=True)",
        "import torchvision\ntorchvision.models.resnet18(weights='DEFAULT')",
        "from torchvision.models import resnet18, ResNet18_Weights\nresnet18(weights=ResNet18_Weights.DEFAULT)",
        "from torchvision import models\nmodels.resnet18(pretrained=True)",
        "import torch\ntorch.hub.load('a/b', 'c')",
        "from torch import hub",
        "from torch.hub import load_state_dict_from_url",
        "from transformers import AutoModel\nAutoModel.from_pretrained('facebook/dinov2-base')",
        "from transformers import AutoModel\nAutoModel.from_pretrained('facebook/dinov2', local_files_only=True)",
        "from transformers import pipeline\npipeline('image-classification')",
        "from torchvision.datasets import CIFAR10\nCIFAR10('.', download=True)",
        "from sklearn.datasets import fetch_openml",
    ],
)
def test_a_download_of_weights_or_data_is_found(online: Find, code: str) -> None:
    assert online(code)


@pytest.mark.parametrize(
    "code",
    [
        "import timm\ntimm.create_model('resnet34', pretrained=False)",
        "import timm\ntimm.create_model('resnet34', num_classes=0)",
        "import timm\nPRETRAINED = False\ntimm.create_model('r', pretrained=PRETRAINED)",
        "import torchvision\ntorchvision.models.resnet18(weights=None)",
        "from transformers import AutoModel\nAutoModel.from_pretrained('/kaggle/input/datasets/o/dino')",
        "from transformers import AutoModel\nfolder = find_dataset('dino', 'x')\nAutoModel.from_pretrained(folder)",
        "from transformers import AutoModel\nAutoModel.from_pretrained(folder / 'model')",
        "from pathlib import Path\nfrom transformers import AutoModel\nAutoModel.from_pretrained(str(Path('x')))",
        "from transformers import AutoModel as M\ndef go(name):\n    M.from_pretrained(name, local_files_only=True)",
        "message = 'pretrained=True would download; torch.hub too'",
        "from torchvision.datasets import CIFAR10\nCIFAR10('.', download=False)",
        "from sklearn.datasets import make_regression",
    ],
)
def test_weights_that_come_from_disk_are_fine(online: Find, code: str) -> None:
    assert online(code) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x.pt')",
        "import torch\ntorch.load('x.pt', weights_only=True)",
        "import torch as t\nread = t.load",
        "from torch import load",
        "import joblib\njoblib.load('x')",
        "import numpy as np\nnp.load('x.npy', allow_pickle=True)",
        "import numpy as np\nnp.load('x.npy', allow_pickle=flag)",
        "import pandas as pd\npd.read_pickle('x')",
        "import marshal",
        "exec('import torch')",
        "eval(text)",
        "import importlib\nimportlib.import_module('requests')",
        "__import__('requests')",
    ],
)
def test_pickles_and_hidden_code_are_found(online: Find, code: str) -> None:
    assert online(code)


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\nnp.load('x.npy')",
        "import numpy as np\nnp.load('x.npy', allow_pickle=False)",
        "from safetensors.torch import load_file\nload_file('x.safetensors')",
        "import joblib\njoblib.Parallel(2)",
        "import json\njson.loads('{}')",
        "model.eval()",
        "import torch\ntorch.compile(model)",
        "import re\nre.compile('x')",
        "def load(path):\n    return path\nload('x')",
        "from importlib.metadata import version",
        "def compile(text):\n    return text\ncompile('x')",
    ],
)
def test_safe_ways_to_load_are_fine(online: Find, code: str) -> None:
    assert online(code) == []


def test_a_finding_names_notebook_cell_source_line_and_cure(online: Find) -> None:
    (found,) = online("x = 1", "import torch\n\nstate = torch.load('w.pt')")
    assert found.startswith("notebooks/n/n.ipynb cell 2 (kernel_src/data/thing.py:13): torch.load unpickles")
    assert "→ keep tensors in safetensors" in found


def test_an_import_in_one_cell_gives_a_name_its_meaning_in_another(online: Find) -> None:
    assert len(online("import torch as t", "t.load('x')")) == 1


def test_one_expression_is_reported_once(online: Find) -> None:
    assert len(online("import torch", "torch.hub.load('a', 'b')")) == 1


def test_every_magic_line_of_a_cell_is_found_and_the_rest_is_still_read(online: Find) -> None:
    found = online("!ls\nimport torch\n%time 1\ntorch.load('x')\n")
    assert [text.partition(": ")[2].split(" ")[0] for text in found] == ["a", "an", "torch.load"]


def test_a_syntax_error_is_a_finding_and_no_traceback(online: Find) -> None:
    (found,) = online("def f(:\n    pass")
    assert "syntax error" in found
