/** A field takes the ref of `useTextField`, by React 18's types as by those of React 19. */

import type { TextFieldProps } from "@collab/react";
import type { Ref } from "react";

export const refOf = ({ ref }: TextFieldProps<HTMLInputElement>): Ref<HTMLInputElement> => ref;
