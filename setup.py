"""pip install of the library, the command and the ROS-free half of nndepth_ros.

colcon ignores this file: the ROS package is built by CMakeLists.txt.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

TORCH = ['torch>=2.5', 'safetensors>=0.4', 'huggingface_hub>=1.0']
EXTRAS = {
    'app': ['gradio>=6.25'],
    'bags': ['mcap>=1.6', 'rosbags>=0.11.9'],
    'cpu': ['onnxruntime>=1.18'],
    'dev': ['build', 'hypothesis', 'mypy', 'pytest', 'pytest-xdist', 'ruff'],
    'docs': ['mkdocs-material>=9.6', 'mkdocstrings[python]>=0.30'],
    'export': [*TORCH, 'onnx>=1.17', 'onnxruntime>=1.18', 'onnxscript>=0.6'],
    'fleet': ['fsspec>=2024.2', 'ray[default]>=2.40'],
    'gpu': ['onnxruntime-gpu>=1.18'],
    'mono': [*TORCH, 'transformers>=5'],
    'torch': TORCH,
    'train': [
        *TORCH,
        'accelerate>=1.0',
        'jsonargparse[ruamel,signatures]>=4.53',
        'h5py>=3',
        'tensorboard',
    ],
    'view': ['foxglove-sdk>=0.30', 'rerun-sdk>=0.41'],
}
URL = 'https://nndepth.example/nndepth'


def description() -> str:
    """The README with links that lead somewhere outside of the repository too."""
    text = Path(__file__).with_name('README.md').read_text('utf-8')
    text = re.sub(r'(!\[[^]]*\]\()(?!http)', rf'\g<1>{URL}/raw/main/', text)
    return re.sub(r'(\]\()(?!http|#)', rf'\g<1>{URL}/blob/main/', text)


setup(
    name='nndepth',
    version='0.1.0',
    description='Neural stereo and monocular depth for robots',
    long_description=description(),
    long_description_content_type='text/markdown',
    url=URL,
    project_urls={'Source': URL, 'Issues': f'{URL}/issues'},
    maintainer='nndepth maintainers',
    maintainer_email='maintainers@nndepth.example',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Console',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Processing',
    ],
    keywords='stereo depth disparity monocular ROS robotics',
    python_requires='>=3.10',
    packages=find_packages(include=['nndepth_core*', 'nndepth_ros*']),
    data_files=[
        (f'share/nndepth/{folder}', sorted(map(str, Path(folder).glob('*.yaml'))))
        for folder in (
            *('config/data', 'config/fleet', 'config/model', 'config/pretraining'),
            'config/training',
        )
    ]
    + [
        ('share/nndepth/config/foxglove', ['config/foxglove/stereo.json']),
        ('share/nndepth/msg', ['msg/InferenceStats.msg']),
    ],
    package_data={'nndepth_core.weights': ['*.yaml', 'bundled/**/*']},
    install_requires=[
        'numpy>=1.23',
        'opencv-python-headless>=4.6,<5',
        'PyYAML>=5.4',
        'tqdm>=4.60',
    ],
    extras_require=EXTRAS,
    entry_points={'console_scripts': ['nndepth = nndepth_core.__main__:command']},
)
