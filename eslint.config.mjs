import tseslint from "typescript-eslint";
import prettier from "eslint-config-prettier";

export default tseslint.config(
  { ignores: ["node_modules/", ".pulumi/", "coverage/"] },
  { files: ["**/*.mjs", "**/*.cjs"], ...tseslint.configs.base },
  {
    files: ["**/*.ts"],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // To load a part of a tool when it is wanted: `import()` reads no TypeScript here (infra/typescript.cjs).
      "@typescript-eslint/no-require-imports": ["error", { allow: ["^\\./"] }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
    },
  },
  prettier,
);
