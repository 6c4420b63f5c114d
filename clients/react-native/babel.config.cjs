// import() as Metro has it; jest runs modules as CJS, where Node's own would need a flag.
const importByRequire = ({ template }) => ({
  visitor: {
    Import({ parentPath }) {
      const [module] = parentPath.node.arguments;
      parentPath.replaceWith(template.expression.ast`Promise.resolve().then(() => require(${module}))`);
    },
  },
});

module.exports = { presets: ["module:@react-native/babel-preset"], plugins: [importByRequire] };
