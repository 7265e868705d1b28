# The same build as CMakeLists.txt for machines without CMake: npm run build:gyp, output in build/Release.
# node-gyp reads only the name binding.gyp, which includes this file. Sources come from scripts/native-sources.cjs.
{
  'target_defaults': {
    'include_dirs': ['native'],
    'defines': ['NDEBUG'],
    'cflags': ['-O3', '-Wall', '-Wextra', '-fvisibility=hidden', '-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math'],
    'cflags_cc': ['-std=c++20'],
    'cflags_cc!': ['-std=gnu++17', '-std=gnu++20', '-fno-exceptions', '-fno-rtti'],
  },
  'variables': {
    # One static library for each instruction level: gyp has no flags for single files.
    'conditions': [
      ['target_arch=="x64"', { 'isa_levels': ['cpu_v2', 'cpu_v3', 'cpu_v4'] }, { 'isa_levels': ['cpu_native_isa'] }],
    ],
  },
  'targets': [
    {
      'target_name': 'diffusion_native',
      'sources': ['<!@(node scripts/native-sources.cjs addon)'],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_VERSION=9', 'NODE_ADDON_API_CPP_EXCEPTIONS', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
      'ldflags': ['-Wl,-z,nodelete', '-Wl,--exclude-libs,ALL'],
      'libraries': ['-ldl', '-lpthread'],
    },
    {
      'target_name': 'diffusion_cpu',
      'type': 'loadable_module',
      'product_prefix': 'lib',
      # In target_conditions because node-gyp's own would set it to 'node' afterwards.
      'target_conditions': [['_type=="loadable_module"', { 'product_extension': 'so' }]],
      'sources': ['<!@(node scripts/native-sources.cjs cpu)'],
      'dependencies': ['<@(isa_levels)'],
      'cflags': ['-fopenmp'],
      # The objects of the levels come after the baseline's and from v2 upwards; CMakeLists.txt says why.
      'ldflags': [
        '-fopenmp', '-Wl,-z,nodelete', '-Wl,--version-script=<(module_root_dir)/native/backend.map', '-Wl,--whole-archive',
      ],
      'libraries': ['-Wl,--no-whole-archive', '-ldnnl', '-ldl', '<!(node scripts/onednn.cjs)'],
    },
  ],
  'conditions': [
    ['target_arch=="x64"', {
      'targets': [
        {
          'target_name': 'cpu_v2',
          'type': 'static_library',
          'sources': ['<!@(node scripts/native-sources.cjs isa)'],
          'defines': ['DIFFUSION_ISA=v2'],
          'cflags': ['-fopenmp', '-march=x86-64-v2'],
        },
        {
          'target_name': 'cpu_v3',
          'type': 'static_library',
          'sources': ['<!@(node scripts/native-sources.cjs isa)'],
          'defines': ['DIFFUSION_ISA=v3'],
          'cflags': ['-fopenmp', '-march=x86-64-v3'],
        },
        {
          'target_name': 'cpu_v4',
          'type': 'static_library',
          'sources': ['<!@(node scripts/native-sources.cjs isa)'],
          'defines': ['DIFFUSION_ISA=v4'],
          'cflags': ['-fopenmp', '-march=x86-64-v4', '-mprefer-vector-width=512'],
        },
      ],
    }, {
      'targets': [
        {
          'target_name': 'cpu_native_isa',
          'type': 'static_library',
          'sources': ['<!@(node scripts/native-sources.cjs isa)'],
          'defines': ['DIFFUSION_ISA=native_isa'],
          'cflags': ['-fopenmp'],
        },
      ],
    }],
  ],
}
